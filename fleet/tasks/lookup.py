"""Look-up and extraction: cells and sums of a table, facts in a message, records as JSON."""

from __future__ import annotations

import json
from random import Random

from fleet.tasks.task import Draft, Family
from fleet.tasks.wording import ANSWER, CITIES, ITEMS, JSON, NUMBER, PEOPLE, SURNAMES, dress, some

COLUMNS = ("item", "city", "price", "stock")


def _table(rng: Random, rows: list[tuple[str, str, int, int]]) -> str:
    if rng.random() < 0.5:
        head = [f"| {' | '.join(COLUMNS)} |", "|---|---|---|---|"]
        return "\n".join(head + [f"| {' | '.join(map(str, row))} |" for row in rows])
    return "\n".join([",".join(COLUMNS), *(",".join(map(str, row)) for row in rows)])


def tables(rng: Random, difficulty: int) -> Draft:
    """4 to 14 rows: one cell (1, 2), the row with the most or least (3), a count (4), a sum over some rows (5)."""
    count = (4, 8, 7, 10, 14)[difficulty - 1]
    towns = some(rng, max(2, count // 3), CITIES)
    prices, stocks = rng.sample(range(5, 200), count), rng.sample(range(1, 99), count)
    rows = [
        (item, rng.choice(towns), price, stock)
        for item, price, stock in zip(some(rng, count, ITEMS), prices, stocks, strict=True)
    ]
    table = _table(rng, rows)
    item, town, price, _ = rng.choice(rows)
    column = rng.choice(("price", "stock"))
    place = COLUMNS.index(column)
    closings = NUMBER
    if difficulty <= 2:
        asked = [f"What is the {column} of {item}?", f"Look up the {column} for {item} in this table."]
        answer = next(str(row[place]) for row in rows if row[0] == item)
    elif difficulty == 3:
        most = rng.choice(("highest", "lowest"))
        asked = [
            f"Which item has the {most} {column}?",
            f"Find the item with the {most} {column} in the table.",
        ]
        pick = max if most == "highest" else min
        answer, closings = str(pick(rows, key=lambda row: row[place])[0]), ANSWER
    elif difficulty == 4:
        asked = [
            f"How many items have a price above {price - 1}?",
            f"Count the rows whose price is above {price - 1}.",
        ]
        answer = str(sum(row[2] > price - 1 for row in rows))
    else:
        asked = [f"What is the total stock in {town}?", f"Add up the stock of all rows for {town}."]
        answer = str(sum(row[3] for row in rows if row[1] == town))
    question = dress(rng, rng.choice(asked), closings)
    verifier = "exact" if difficulty == 3 else "number"
    return Draft(f"{question}\n\n{table}", answer, verifier, f"{sorted(rows)} {sorted(asked)}")


def messages(rng: Random, difficulty: int) -> Draft:
    """One code, mail address or hour out of a message with up to six lookalikes."""
    name, other = some(rng, 2, PEOPLE)
    codes = [f"{rng.choice('KQRTXZ')}{rng.choice('ABCD')}-{rng.randint(1000, 99999)}" for _ in range(7)]
    mails = [
        f"{p.lower()}.{rng.choice(SURNAMES).lower()}@example.{t}" for p, t in ((name, "org"), (other, "com"))
    ]
    hour, late = (
        f"{rng.randint(8, 12):02}:{rng.choice((10, 20, 35, 45))}",
        f"{rng.randint(14, 19)}:{rng.choice((15, 40, 50))}",
    )
    facts = [
        (f"The order number is {codes[0]}.", "order number", codes[0]),
        (f"You can reach me at {mails[0]}.", f"mail address of {name}", mails[0]),
        (f"The courier comes at {hour}.", "time the courier comes", hour),
        (f"The invoice is {codes[1]}.", "invoice number", codes[1]),
        (f"My colleague {other} reads {mails[1]}.", f"mail address of {other}", mails[1]),
        (f"The office closes at {late}.", "time the office closes", late),
        (f"Our customer number is {codes[2]}.", "customer number", codes[2]),
    ]
    said = facts[:2] if difficulty == 1 else rng.sample(facts, min(difficulty + 2, len(facts)))
    _, asked_for, answer = rng.choice(said)
    sentences = [sentence for sentence, _, _ in said]
    if difficulty >= 4:
        sentences.append(f"Please ignore {codes[3]}, that was a test.")
        old = rng.choice([fact for fact in said if fact[1].endswith("number")] or [None])
        if old is not None:
            fresh = codes[4]
            sentences.append(f"Correction: the {old[1]} is now {fresh}.")
            answer = fresh if asked_for == old[1] else answer
    body = f"Hello, this is {name}. {' '.join(sentences)} Best, {name}"
    asked = [
        f"What is the {asked_for} in this message?\n\n{body}",
        f"Read this mail and give me the {asked_for}.\n\n{body}",
        f'Extract the {asked_for} from: "{body}"',
    ]
    return Draft(dress(rng, rng.choice(asked), ("",)), answer, "exact", f"{body} {asked_for}")


def records(rng: Random, difficulty: int) -> Draft:
    """An order in prose as a JSON object of 2 to 6 keys."""
    name = f"{rng.choice(PEOPLE)} {rng.choice(SURNAMES)}"
    fields: dict[str, object] = {
        "name": name,
        "city": rng.choice(CITIES),
        "quantity": rng.randint(2, 90),
        "item": rng.choice(ITEMS),
        "order": rng.randint(1000, 99999),
        "express": rng.random() < 0.5,
    }
    keys = list(fields)[: difficulty + 1]
    noise = (
        rng.choice(("", " The last parcel came with a dent.", " We moved here in spring."))
        if difficulty > 2
        else ""
    )
    prose = [
        f"{name} from {fields['city']} ordered {fields['quantity']} {fields['item']}, order {fields['order']}, "
        f"{'express' if fields['express'] else 'standard'} delivery.{noise}",
        f"Order {fields['order']}: {fields['quantity']} {fields['item']} for {name} in {fields['city']}."
        f"{noise} Ship it {'express' if fields['express'] else 'standard'}.",
    ]
    sentence = rng.choice(prose)
    named = ", ".join(keys)
    asked = [
        f"Turn this into a JSON object with the keys {named}: {sentence}",
        f"Extract {named} as JSON from this note: {sentence}",
    ]
    answer = json.dumps({key: fields[key] for key in keys})
    return Draft(dress(rng, rng.choice(asked), JSON), answer, "json", f"{sorted(fields.items())} {named}")


FAMILIES = (
    Family("tables", "look-up", tables),
    Family("messages", "look-up", messages),
    Family("records", "look-up", records),
)

"""Look-up and extraction: cells and sums of a table, facts in a message, records as JSON."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random

from fleet.tasks.task import Draft, Family
from fleet.tasks.wording import (
    ANSWER,
    CITIES,
    ITEMS,
    JSON,
    NOUNS,
    NUMBER,
    PEOPLE,
    SURNAMES,
    Phrases,
    ask,
    between,
    pick,
    some,
)


@dataclass(frozen=True)
class Topic:
    """What a table is about: a column of names, one of groups, and two of numbers."""

    columns: tuple[str, str, str, str]
    names: list[str]
    groups: list[str]
    where: str  # how one speaks of a group
    highest: tuple[int, int]  # of the two columns of numbers


TOPICS = (
    Topic(("item", "city", "price", "stock"), ITEMS, CITIES, "in {group}", (199, 98)),
    Topic(("player", "team", "score", "age"), PEOPLE, ["Reds", "Blues", "Greens", "Whites", "Golds"], "of the {group}",
          (199, 60)),
    Topic(("book", "shelf", "length", "price"), NOUNS, ["A1", "A2", "B1", "B2", "C1"], "on shelf {group}", (499, 90)),
    Topic(("guest", "hotel", "bill", "age"), PEOPLE, ["Palace", "Harbour", "Station", "Garden"], "in the {group}",
          (499, 80)),
)  # fmt: skip
CELL: Phrases = (
    "Look up the {column} for {entry} in this table.",
    "What is the {column} of {entry}?",
    "What does the table say for {entry} under {column}?",
    "I need the {column} of {entry}.",
    "Find {entry} and tell me the {column}.",
    "{column} of {entry}?",
    "Which {column} is written next to {entry}?",
    "Can you read off the {column} for {entry}?",
)
EXTREME: Phrases = (
    "Which {noun} has the {most} {column}?",
    "Find the {noun} with the {most} {column} in the table.",
    "The {most} {column}: which {noun} is that?",
    "Name the {noun} with the {most} {column}.",
    "I'm looking for the {noun} with the {most} {column}. Which one is it?",
    "Where is the {column} the {most}? Give me the {noun}.",
)
HOW_MANY: Phrases = (
    "Count the rows whose {column} is {side} {limit}.",
    "How many {noun}s have a {column} {side} {limit}?",
    "For how many {noun}s is the {column} {side} {limit}?",
    "In how many rows is the {column} {side} {limit}?",
    "Number of {noun}s with a {column} {side} {limit}?",
    "I filter for a {column} {side} {limit}. How many rows are left?",
)
TOTAL: Phrases = (
    "Add up the {column} of all {noun}s {where}.",
    "What is the total {column} of the {noun}s {where}?",
    "What do the {noun}s {where} have together under {column}?",
    "Sum the column {column}, but only for the {noun}s {where}.",
    "I need the sum of {column} over the {noun}s {where}.",
    "Taking only the {noun}s {where}: what does {column} add up to?",
)


def tables(rng: Random, difficulty: int) -> Draft:
    """3 to 10 rows: one cell (1, 2), the row with the most or least (3), a count (4), a sum over some rows (5)."""
    topic = pick(rng, TOPICS)
    count = (3, 6, 6, 8, 10)[difficulty - 1]
    groups = some(rng, min(max(2, count // 3), len(topic.groups)), topic.groups)
    firsts, seconds = (rng.sample(range(5, highest), count) for highest in topic.highest)
    rows = [
        (name, pick(rng, groups), first, second)
        for name, first, second in zip(some(rng, count, topic.names), firsts, seconds, strict=True)
    ]
    place = pick(rng, (2, 3))
    noun, column = topic.columns[0], topic.columns[place]
    told: dict[str, object] = {"noun": noun, "column": column}
    verifier, closings = "number", NUMBER
    numbers = [int(row[place]) for row in rows]
    if difficulty <= 2:
        row = pick(rng, rows)
        phrases, told["entry"], answer = CELL, row[0], str(row[place])
        working = [" | ".join(map(str, row))]
        asked = f"{row[0]} {column}"
    elif difficulty == 3:
        most = pick(rng, ("highest", "lowest"))
        best = rows[numbers.index(max(numbers) if most == "highest" else min(numbers))]
        phrases, told["most"], answer = EXTREME, most, best[0]
        verifier, closings = "exact", ANSWER
        working = [f"{', '.join(map(str, numbers))}", f"{most}: {best[place]}, {best[0]}"]
        asked = f"{most} {column}"
    elif difficulty == 4:
        way = pick(rng, ("above", "below"))
        limit = pick(rng, sorted(numbers)[2:-2])
        kept = [n for n in numbers if (n > limit if way == "above" else n < limit)]
        phrases, told["side"], told["limit"], answer = HOW_MANY, way, limit, str(len(kept))
        working = [", ".join(f"{n} {'yes' if n in kept else 'no'}" for n in numbers)]
        asked = f"{column} {way} {limit}"
    else:
        group = Counter(row[1] for row in rows).most_common(1)[0][0]
        kept = [int(row[place]) for row in rows if row[1] == group]
        phrases, told["where"], answer = TOTAL, topic.where.format(group=group), str(sum(kept))
        working = [f"{', '.join(f'{row[0]} {row[place]}' for row in rows if row[1] == group)}"]
        working += [
            f"{before} + {n} = {after}"
            for (before, after), n in zip(pairwise(accumulate(kept)), kept[1:], strict=True)
        ]
        asked = f"{column} {group}"
    prompt = f"{ask(rng, phrases, closings, **told)}\n\n{_table(rng, topic.columns, rows)}"
    return Draft(prompt, answer, verifier, f"{sorted(rows)} {asked}", tuple(working))


def _table(rng: Random, columns: tuple[str, ...], rows: list[tuple[str, str, int, int]]) -> str:
    if rng.random() < 0.5:
        lines = [f"| {' | '.join(columns)} |", "|---|---|---|---|"]
        return "\n".join(lines + [f"| {' | '.join(map(str, row))} |" for row in rows])
    return "\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)])


GREETING: Phrases = (
    "Hello, this is {name}.",
    "Dear all, {name} here.",
    "Hi, it's {name} again.",
    "Good day, my name is {name}.",
)
ORDER: Phrases = (
    "The order number is {code}.",
    "I ordered under the number {code}.",
    "Please look at order {code}.",
)
INVOICE: Phrases = (
    "The invoice is {code}.",
    "The invoice number reads {code}.",
    "I have paid invoice {code}.",
)
CUSTOMER: Phrases = (
    "Our customer number is {code}.",
    "We are customer {code} with you.",
    "You know us as customer number {code}.",
)
OWN_MAIL: Phrases = (
    "You can reach me at {mail}.",
    "Please answer to {mail}, my own address.",
    "My address is {mail}.",
)
OTHER_MAIL: Phrases = (
    "My colleague {other} reads {mail}.",
    "If I am away, write to {other} at {mail}.",
    "{other} can be found under {mail}.",
)
COURIER: Phrases = (
    "The courier comes at {time}.",
    "A courier will be here at {time}.",
    "The parcel is fetched by courier at {time}.",
)
OFFICE: Phrases = (
    "The office closes at {time}.",
    "We shut the office at {time}.",
    "Nobody is in the office after {time}.",
)
CORRECTION: Phrases = (
    "Correction: the {what} is now {code}.",
    "Sorry, the {what} has changed to {code}.",
    "Forget the {what} above, {code} is the right one.",
)
IGNORE: Phrases = (
    "Please ignore {code}, that was a test.",
    "{code} on the label means nothing.",
    "There was once a {code}, long closed.",
)
SENTENCES = (GREETING, ORDER, INVOICE, CUSTOMER, OWN_MAIL, OTHER_MAIL, COURIER, OFFICE, CORRECTION, IGNORE)
WANTED: Phrases = (
    "What is the {wanted} in this message?\n\n{body}",
    "Read this mail and give me the {wanted}.\n\n{body}",
    'Extract the {wanted} from: "{body}"',
    'Find the {wanted}: "{body}"',
    "I only need the {wanted} out of this.\n\n{body}",
    "This came in today. Please tell me the {wanted}.\n\n{body}",
    "{body}\n\nWhat is the {wanted}?",
    "{body}\n\nFrom the mail above, copy the {wanted}.",
    "{body}\n\nI need one thing out of this: the {wanted}.",
    'My boss forwarded "{body}" and asks for the {wanted}. What do I write?',
    "Look through this text for the {wanted}: {body}",
    "Somebody wrote to us.\n\n{body}\n\nCan you give me the {wanted}?",
)


def messages(rng: Random, difficulty: int) -> Draft:
    """One code, mail address or hour out of a message with up to five lookalikes; from 4 on codes get corrected."""
    name, other = some(rng, 2, PEOPLE)
    codes = [f"{pick(rng, 'KQRTXZ')}{pick(rng, 'ABCD')}-{between(rng, 1000, 99999)}" for _ in range(5)]
    mails = [
        f"{p.lower()}.{pick(rng, SURNAMES).lower()}@example.{t}" for p, t in ((name, "org"), (other, "com"))
    ]
    hour = f"{between(rng, 8, 12):02}:{pick(rng, (10, 20, 35, 45))}"
    late = f"{between(rng, 14, 19)}:{pick(rng, (15, 40, 50))}"
    facts = [
        (pick(rng, ORDER).format(code=codes[0]), "order number", codes[0]),
        (pick(rng, OWN_MAIL).format(mail=mails[0]), f"mail address of {name}", mails[0]),
        (pick(rng, COURIER).format(time=hour), "time the courier comes", hour),
        (pick(rng, INVOICE).format(code=codes[1]), "invoice number", codes[1]),
        (pick(rng, OTHER_MAIL).format(mail=mails[1], other=other), f"mail address of {other}", mails[1]),
        (pick(rng, OFFICE).format(time=late), "time the office closes", late),
        (pick(rng, CUSTOMER).format(code=codes[2]), "customer number", codes[2]),
    ]
    said = facts[:2] if difficulty == 1 else rng.sample(facts, difficulty + 1)
    _, wanted, answer = pick(rng, said)
    sentences = [sentence for sentence, _, _ in said]
    if difficulty >= 4:
        sentences.append(pick(rng, IGNORE).format(code=codes[3]))
        numbers = [what for _, what, _ in said if what.endswith("number")]
        what = (
            wanted if wanted in numbers else pick(rng, numbers)
        )  # two of seven facts stay away, three are numbers
        sentences.append(pick(rng, CORRECTION).format(what=what, code=codes[4]))
        answer = codes[4] if wanted == what else answer
    body = f"{pick(rng, GREETING).format(name=name)} {' '.join(sentences)} Best, {name}"
    prompt = ask(rng, WANTED, ("",), wanted=wanted, body=body)
    return Draft(prompt, answer, "exact", f"{sorted(each[2] for each in said)} {answer} {wanted}")


NOTE: Phrases = (
    "{name} from {city} ordered {quantity} {item}, order {order}, {express} delivery.{noise}",
    "Order {order}: {quantity} {item} for {name} in {city}.{noise} Ship it {express}.",
    "{name} ({city}) wants {quantity} {item}.{noise} The order is {order}, delivery {express}.",
    "Phone note: {name} called from {city} about order {order}.{noise} {quantity} {item}, sent {express}.",
    "{quantity} {item} go to {city}, to {name}.{noise} By {express} mail, order {order}.",
    "For {name}, {city}: {quantity} {item} under order {order}.{noise} Shipping is {express}.",
)
NOISES: Phrases = (
    " The last parcel came with a dent.",
    " We moved here in spring.",
    " The customer was friendly.",
    " Call back after {n} days.",
    " The door bell does not work.",
    " The invoice of {n} dollars is paid.",
)
RECORD: Phrases = (
    "Turn this into a JSON object with the keys {named}: {note}",
    "Extract {named} as JSON from this note: {note}",
    "Give me {named} as a JSON object. {note}",
    "Read the note and write {named} as JSON: {note}",
    "Our import takes JSON with {named}. What does this become? {note}",
    "Fill a JSON object that has the keys {named} from this: {note}",
    "Make JSON of it ({named}): {note}",
    "{note}\n\nPut {named} into a JSON object.",
)


def records(rng: Random, difficulty: int) -> Draft:
    """An order in prose as a JSON object of 1 to 5 keys."""
    fields: dict[str, object] = {
        "name": f"{pick(rng, PEOPLE)} {pick(rng, SURNAMES)}",
        "city": pick(rng, CITIES),
        "quantity": between(rng, 2, 90),
        "item": pick(rng, ITEMS),
        "order": between(rng, 1000, 99999),
        "express": rng.random() < 0.5,
    }
    keys = rng.sample(list(fields), difficulty)
    noise = pick(rng, NOISES).format(n=between(rng, 2, 60)) if difficulty > 2 and rng.random() < 0.6 else ""
    said = {**fields, "express": "express" if fields["express"] else "standard", "noise": noise}
    prompt = ask(rng, RECORD, JSON, named=", ".join(keys), note=pick(rng, NOTE).format_map(said))
    answer = json.dumps({key: fields[key] for key in keys})
    return Draft(prompt, answer, "json", f"{sorted(fields.items())} {keys}")


FAMILIES = (
    Family("tables", "look-up", tables, (CELL, EXTREME, HOW_MANY, TOTAL)),
    Family("messages", "look-up", messages, (WANTED, *SENTENCES)),
    Family("records", "look-up", records, (RECORD, NOTE)),
)

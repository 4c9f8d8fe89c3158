"""Arithmetic: sums, products and quotients, and the till of a shop."""

from __future__ import annotations

from decimal import Decimal
from random import Random

from fleet.tasks.task import Draft, Family
from fleet.tasks.wording import (
    CITIES,
    ITEMS,
    NUMBER,
    PEOPLE,
    Phrases,
    aside,
    ask,
    between,
    joined,
    pick,
    some,
    spread,
)

SIGNS: Phrases = (
    "What is {chain}?",
    "{chain} = ?",
    "{chain}",
    "Calculate {chain}.",
    "Work out {chain}.",
    "How much is {chain}?",
    "What does {chain} come to?",
    "Could you tell me what {chain} makes?",
    "What do I get for {chain}?",
    "My calculator died. What is {chain}?",
    "I need the result of {chain}.",
    "Can you do {chain} in your head?",
)
RUNNING: Phrases = (
    "Start with {first}, {moves}. What do you end up with?",
    "Take {first}, {moves}. What is the result?",
    "I write down {first}, {moves}. Which number do I have now?",
    "Begin at {first}, {moves}. Where do you land?",
)
BALANCE: Phrases = (
    "My account stood at ${first}. Since then: {moves}. What is the balance now, in dollars?",
    "{name} had ${first} in the bank at the start of the month.{aside} The statement says: {moves}. "
    "How many dollars are in the account now?",
    "The club began the year with ${first}. The book lists: {moves}.{aside} What is in the cash box now, in dollars?",
    "Opening balance ${first}; {moves}. Closing balance in dollars?",
)
GAME: Phrases = (
    "Score so far {first}, then {moves}. New score?",
    "{name} has {first} points. The next rounds: {moves}. How many points is that now?",
    "We were at {first} points.{aside} Then {moves}. What is our score?",
)
TOTAL: Phrases = (
    "What's the total of {terms}?",
    "Add up {terms}.",
    "Sum these numbers: {terms}.",
    "{terms}: how much is that together?",
    "The {place} office counted {terms} visitors over the last days.{aside} How many is that altogether?",
    "I drove {terms} km on my last trips.{aside} How many km in total?",
    "We sold {terms} tickets on the last evenings.{aside} How many did we sell in all?",
    "The {place} warehouse received {terms} boxes this week.{aside} How many boxes are that?",
    "{name} walked {terms} steps on the last days.{aside} How many steps altogether?",
    "The parts weigh {terms} grams. What does the whole thing weigh, in grams?",
)
TOTAL_ASIDES: Phrases = (
    "We have been doing this for {n} years.",
    "Last week there were {n} more.",
    "It rained on {n} days of the month.",
    "About {n} people work there.",
    "The list is on page {n}.",
)
MOVES = (
    (RUNNING, "add ", "take away "),
    (RUNNING, "plus ", "minus "),
    (BALANCE, "paid in $", "took out $"),
    (GAME, "won ", "lost "),
)


def sums(rng: Random, difficulty: int) -> Draft:
    """Add and take away 2 to 4 numbers of up to 4 digits."""
    count, digits, others = ((2, 2, 1), (2, 2, 2), (3, 2, 2), (3, 3, 3), (4, 4, 4))[difficulty - 1]
    terms = [spread(rng, digits), *(spread(rng, others) for _ in range(count - 1))]
    signs = [1, *(pick(rng, (1, 1, -1)) for _ in terms[1:])]
    shown = [f"{term:,}" if rng.random() < 0.2 else str(term) for term in terms]
    moves = list(zip(signs[1:], shown[1:], strict=True))
    how = rng.random()
    if how < 0.4:
        plus, minus = ("+", "-") if rng.random() < 0.6 else ("plus", "minus")
        chain = shown[0] + "".join(f" {plus if sign > 0 else minus} {term}" for sign, term in moves)
        prompt = ask(rng, SIGNS, NUMBER, chain=chain)
    elif how < 0.7 and min(signs) > 0:
        told = {"place": pick(rng, CITIES), "name": pick(rng, PEOPLE), "aside": aside(rng, TOTAL_ASIDES)}
        prompt = ask(rng, TOTAL, NUMBER, terms=joined(shown), **told)
    else:
        phrases, plus, minus = pick(rng, MOVES)
        steps = ", ".join(f"{plus if sign > 0 else minus}{term}" for sign, term in moves)
        told = {"name": pick(rng, PEOPLE), "aside": aside(rng, TOTAL_ASIDES)}
        prompt = ask(rng, phrases, NUMBER, first=shown[0], moves=steps, **told)
    answer, working = terms[0], []
    for sign, term in zip(signs[1:], terms[1:], strict=True):
        working.append(f"{answer} {'+' if sign > 0 else '-'} {term} = {answer + sign * term}")
        answer += sign * term
    return Draft(prompt, str(answer), "number", f"{terms} {signs}", tuple(working))


TIMES: Phrases = (
    "What's {a} times {b}?",
    "{a} * {b} = ?",
    "{a} x {b}",
    "Multiply {a} by {b}.",
    "What is {a} multiplied by {b}?",
    "Compute the product of {a} and {b}.",
    "How much is {a} times {b}?",
    "What do you get for {a} * {b}?",
    "I need {a} times {b}.",
    "Calculate {a} * {b}.",
)
ROWS: Phrases = (
    "A hall has {a} rows of {b} seats. How many seats are there?",
    "Each of our {a} trucks carries {b} parcels.{aside} How many parcels is that in total?",
    "{name} types {b} words a minute. How many words is that in {a} minutes?",
    "A book has {a} pages with {b} words on each.{aside} How many words does it have?",
    "We need {b} bolts for every bike. How many bolts do {a} bikes take?",
    "A ticket costs ${b}.{aside} How many dollars do {a} tickets cost?",
    "The press makes {b} copies an hour and ran for {a} hours. How many copies did it make?",
    "There are {b} screws in a box and we ordered {a} boxes.{aside} How many screws did we order?",
    "{name} earns ${b} a week. How many dollars are that in {a} weeks?",
    "A wall is {a} bricks wide and {b} bricks high. How many bricks are in it?",
)
OVER: Phrases = (
    "What is {c} divided by {b}?",
    "{c} / {b} = ?",
    "{c} ÷ {b}",
    "Divide {c} by {b}.",
    "How often does {b} go into {c}?",
    "How much is {c} over {b}?",
    "What do I get when I divide {c} by {b}?",
    "Calculate {c} / {b}.",
)
SHARES: Phrases = (
    "We have {c} eggs and every crate holds {b}. How many crates do we fill?",
    "Split {c} evenly among {b} people: how many does each one get?",
    "{b} children share {c} stickers equally.{aside} How many stickers does each child get?",
    "A rope of {c} cm is cut into {b} equal pieces. How long is a piece, in cm?",
    "{name} saves ${b} a week. How many weeks does it take to have ${c}?",
    "{c} guests sit down at tables of {b}.{aside} How many tables do they fill?",
    "The printer made {c} copies at {b} a minute. For how many minutes did it run?",
    "A loan of ${c} is paid back in {b} equal parts.{aside} How many dollars is each part?",
)
PRODUCT_ASIDES: Phrases = (
    "Delivery takes {n} days.",
    "Last year it was {n} fewer.",
    "I paid ${n} for it.",
    "The place is {n} years old.",
    "It is {n} km from here.",
)


def products(rng: Random, difficulty: int) -> Draft:
    """Multiply two numbers, or divide without a remainder; 1×2 to 4×3 digits."""
    one, other = ((1, 2), (1, 3), (2, 2), (3, 2), (3, 3))[difficulty - 1]
    a, b = max(spread(rng, one), 3), spread(rng, other)
    told = {"name": pick(rng, PEOPLE), "aside": aside(rng, PRODUCT_ASIDES)}
    if rng.random() < 0.35:
        phrases = OVER if rng.random() < 0.5 else SHARES
        prompt = ask(rng, phrases, NUMBER, c=a * b, b=b, **told)
        return Draft(prompt, str(a), "number", f"{a * b} / {b}", _long_division(a, b))
    prompt = ask(rng, TIMES if rng.random() < 0.5 else ROWS, NUMBER, a=a, b=b, **told)
    return Draft(prompt, str(a * b), "number", f"{a} * {b}", _long_multiplication(a, b))


def _places(n: int) -> list[int]:
    """347 as 300, 40, 7; without zeros."""
    digits = str(n)
    return [int(d) * 10 ** (len(digits) - i - 1) for i, d in enumerate(digits) if d != "0"]


def _long_multiplication(a: int, b: int) -> tuple[str, ...]:
    parts = [a * place for place in _places(b)]
    lines = [f"{a} * {place} = {part}" for place, part in zip(_places(b), parts, strict=True)]
    total = parts[0]
    for part in parts[1:]:
        lines.append(f"{total} + {part} = {total + part}")
        total += part
    return tuple(lines)


def _long_division(a: int, b: int) -> tuple[str, ...]:
    """The lines of a·b / b."""
    rest, lines = a * b, []
    for place in _places(a):
        lines.append(f"{b} * {place} = {b * place}, {rest} - {b * place} = {rest - b * place}")
        rest -= b * place
    if len(lines) > 1:
        lines.append(f"{' + '.join(map(str, _places(a)))} = {a}")
    return tuple(lines)


BILL: Phrases = (
    "I buy {bought}.{off}{aside} What does it all cost, in dollars?",
    "{name} buys {bought}.{aside}{off} What does it all cost, in dollars?",
    "Shopping list: {bought}.{aside}{off} What's the total in dollars?",
    "In my basket: {bought}.{off}{aside} How much is that together, in dollars?",
    "{name} orders {bought} for the office.{aside}{off} How many dollars will the invoice say?",
    "We need {bought} for the party.{off}{aside} How many dollars should I bring?",
    "Please check my bill: {bought}.{aside}{off} What should the total be, in dollars?",
)
CHANGE: Phrases = (
    "I buy {bought}.{off}{aside} If I hand over ${paid}, how many dollars do I get back?",
    "{name} buys {bought}.{aside}{off} {name} pays with ${paid}. How much change is due, in dollars?",
    "On my receipt: {bought}.{off}{aside} I paid with ${paid}. How many dollars should I have got back?",
    "{name} takes {bought} to the till and has ${paid}.{off}{aside} How many dollars are left afterwards?",
    "A customer gives me ${paid} for {bought}.{off}{aside} What change do I give, in dollars?",
    "My budget is ${paid} and I want {bought}.{aside}{off} How many dollars remain?",
)
SALES: Phrases = (
    " There is a {percent}% discount on everything.",
    " Everything is {percent}% off today.",
    " With my card I get {percent}% off the whole bill.",
)
SHOP_ASIDES: Phrases = (
    "The shop closes in {n} minutes.",
    "There are {n} people in front of the till.",
    "The umbrella for ${n} stays on the shelf.",
    "The shop is {n} years old.",
    "Last week I spent ${n} there.",
    "Parking is free for {n} minutes.",
)


def shopping(rng: Random, difficulty: int) -> Draft:
    """A bill of 1 to 3 lines, at difficulty 2, 4 and 5 with cents, at 5 with a discount; the total, or the change."""
    lines = (1, 1, 2, 2, 3)[difficulty - 1]
    items = some(rng, lines, ITEMS)
    counts = [between(rng, 2, 9 if difficulty < 5 else 24) for _ in items]
    cents = ((0,), (20, 50), (0,), (0, 25, 50, 75, 20, 40), (0, 20, 40, 50))[difficulty - 1]
    prices = [Decimal(100 * between(rng, 2, 12) + pick(rng, cents)) / 100 for _ in items]
    total = sum((n * p for n, p in zip(counts, prices, strict=True)), Decimal(0))
    percent = pick(rng, (10, 20, 50)) if difficulty == 5 else 0
    due = total * (100 - percent) / 100
    paid = int(due // 50 + 1) * 50
    wants_change = rng.random() < 0.6
    form = pick(rng, ("{n} {item} at ${price} each", "{n} {item} (${price} each)"))
    bought = [
        form.format(n=n, item=item, price=_money(p)) for n, item, p in zip(counts, items, prices, strict=True)
    ]
    told = {
        "bought": joined(bought),
        "name": pick(rng, PEOPLE),
        "off": pick(rng, SALES).format(percent=percent) if percent else "",
        "aside": aside(rng, SHOP_ASIDES),
    }
    prompt = ask(rng, CHANGE if wants_change else BILL, NUMBER, paid=paid, **told)
    working = [f"{n} * {_money(p)} = {_money(n * p)}" for n, p in zip(counts, prices, strict=True)]
    running = counts[0] * prices[0]
    for n, p in zip(counts[1:], prices[1:], strict=True):
        working.append(f"{_money(running)} + {_money(n * p)} = {_money(running + n * p)}")
        running += n * p
    if percent:
        working.append(f"{percent}% of {_money(total)} = {_money(total - due)}")
        working.append(f"{_money(total)} - {_money(total - due)} = {_money(due)}")
    if wants_change:
        working.append(f"{paid} - {_money(due)} = {_money(paid - due)}")
    answer = _money(paid - due if wants_change else due)
    return Draft(prompt, answer, "number", f"{counts} {prices} {percent} {wants_change}", tuple(working))


def _money(amount: Decimal) -> str:
    """12, 12.50"""
    return f"{amount:.0f}" if amount == amount.to_integral() else f"{amount:.2f}"


FAMILIES = (
    Family("sums", "arithmetic", sums, (SIGNS, RUNNING, BALANCE, GAME, TOTAL)),
    Family("products", "arithmetic", products, (TIMES, ROWS, OVER, SHARES)),
    Family("shopping", "arithmetic", shopping, (BILL, CHANGE)),
)

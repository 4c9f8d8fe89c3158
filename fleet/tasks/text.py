"""Strings and lists: letters of a word, sorting, and picking from a list."""

from __future__ import annotations

from random import Random

from fleet.tasks.task import Draft, Family
from fleet.tasks.wording import ANSWER, LIST, NOUNS, NUMBER, PEOPLE, dress, invented, some

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def letters(rng: Random, difficulty: int) -> Draft:
    """Reverse a word, count a letter in it, or name its n-th letter; 4 to 14 letters."""
    shortest, longest = ((4, 5), (6, 7), (8, 9), (10, 11), (12, 14))[difficulty - 1]
    word = invented(rng, rng.randint(shortest, longest))
    kind = rng.choice(("word", "username", "code word", "name"))
    what = rng.choice(("reverse", "reverse", "count", "nth"))
    if what == "reverse":
        asked = [
            f"Reverse the {kind} '{word}'.",
            f"How do you write '{word}' backwards?",
            f'Spell "{word}" from the last letter to the first, as one word.',
        ]
        return Draft(dress(rng, rng.choice(asked), ANSWER), word[::-1], "exact", f"reverse {word}")
    if what == "count":
        letter = rng.choice(word)
        asked = [
            f"How many times does the letter {letter} appear in '{word}'?",
            f"Count the letter {letter} in the {kind} '{word}'.",
            f'How many {letter}\'s are there in "{word}"?',
        ]
        return Draft(
            dress(rng, rng.choice(asked), NUMBER), str(word.count(letter)), "number", f"{letter} {word}"
        )
    place = rng.randrange(min(len(word), len(ORDINALS)))
    asked = [
        f"What is the {ORDINALS[place]} letter of '{word}'?",
        f"Which letter comes {ORDINALS[place]} in the {kind} '{word}'?",
    ]
    return Draft(dress(rng, rng.choice(asked), ANSWER), word[place], "exact", f"{place} {word}")


def sorting(rng: Random, difficulty: int) -> Draft:
    """Sort 3 to 12 numbers or words, up or down."""
    count = (3, 5, 7, 9, 12)[difficulty - 1]
    down = rng.random() < 0.4
    if rng.random() < 0.5:
        numbers = rng.sample(range(1, 100 if difficulty < 3 else 1000), count)
        shown, ordered = list(map(str, numbers)), list(map(str, sorted(numbers, reverse=down)))
        way = "from largest to smallest" if down else "from smallest to largest"
        what = rng.choice(("numbers", "scores", "values"))
    else:
        shown = some(rng, count, rng.choice((NOUNS, PEOPLE)))
        ordered = sorted(shown, reverse=down)
        way = "in reverse alphabetical order" if down else "alphabetically"
        what = rng.choice(("words", "entries"))
    line = ", ".join(shown)
    asked = [
        f"Sort these {what} {way}: {line}.",
        f"Put the following {what} in order, {way}: {line}.",
        f"I have this list of {what}: {line}. Can you arrange it {way}?",
    ]
    return Draft(dress(rng, rng.choice(asked), LIST), ", ".join(ordered), "list", f"{line} {way}")


def filtering(rng: Random, difficulty: int) -> Draft:
    """Keep some entries of a list of 4 to 14, in their order: even, large, without repeats, by first letter."""
    count = (4, 6, 8, 11, 14)[difficulty - 1]
    what = rng.choice(("even", "odd", "over", "repeats", "starting"))
    if what in ("even", "odd", "over"):
        numbers = rng.sample(range(1, 100), count)
        limit = rng.randint(30, 70)
        kept = [str(n) for n in numbers if (n > limit if what == "over" else n % 2 == (what == "odd"))]
        line = ", ".join(map(str, numbers))
        wish = {"even": "even numbers", "odd": "odd numbers", "over": f"numbers greater than {limit}"}[what]
        asked = [
            f"List only the {wish} from {line}, keeping their order.",
            f"Here are some readings: {line}. Which of them are {wish}?",
            f"From this list, keep just the {wish}: {line}.",
        ]
    elif what == "repeats":
        pool = some(rng, max(3, count * 2 // 3), NOUNS)
        entries = [rng.choice(pool) for _ in range(count)]
        kept, line = list(dict.fromkeys(entries)), ", ".join(entries)
        asked = [
            f"Remove the duplicates from this list but keep the order of first appearance: {line}.",
            f"Somebody pasted entries twice: {line}. Give me each one once, in order of first appearance.",
        ]
    else:
        entries = some(rng, count, PEOPLE if rng.random() < 0.5 else NOUNS)
        letter = rng.choice(entries)[0]
        kept, line = [entry for entry in entries if entry[0] == letter], ", ".join(entries)
        what = f"starting {letter}"
        asked = [
            f"Which of these start with the letter {letter}? {line}.",
            f"Keep only the entries that start with the letter {letter}: {line}.",
        ]
    if not kept:  # an empty answer cannot be told from no answer
        return filtering(rng, difficulty)
    return Draft(dress(rng, rng.choice(asked), LIST), ", ".join(kept), "list", f"{what} {line}")


FAMILIES = (
    Family("letters", "strings and lists", letters),
    Family("sorting", "strings and lists", sorting),
    Family("filtering", "strings and lists", filtering),
)

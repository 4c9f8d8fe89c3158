"""Strings and lists: letters of a word, sorting, and picking from a list."""

from __future__ import annotations

from random import Random

from fleet.tasks.task import Draft, Family
from fleet.tasks.wording import (
    ANSWER,
    LIST,
    NOUNS,
    NUMBER,
    PEOPLE,
    Phrases,
    ask,
    between,
    invented,
    pick,
    some,
)

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
REVERSE: Phrases = (
    "Reverse the word '{word}'.",
    "Reverse the {kind} '{word}'.",
    "How do you write '{word}' backwards?",
    'Spell "{word}" from the last letter to the first, as one word.',
    "What is '{word}' spelled backwards?",
    "My password hint says: '{word}' the other way round. What is the password?",
    'Read the {kind} "{word}" in a mirror: what does it say from right to left?',
    "Give me the letters of '{word}' in reverse order, as one word.",
    "Flip the {kind} '{word}' back to front.",
)
COUNT: Phrases = (
    "How many times does the letter {letter} appear in '{word}'?",
    "Count the letter {letter} in the {kind} '{word}'.",
    'How many {letter}\'s are there in "{word}"?',
    "How often is the letter {letter} in the {kind} '{word}'?",
    "I painted '{word}' on a sign. How many times did I need the letter {letter}?",
    "Number of times the letter {letter} occurs in '{word}'?",
)
NTH: Phrases = (
    "What is the {nth} letter of '{word}'?",
    "Which letter comes {nth} in the {kind} '{word}'?",
    "Tell me the {nth} letter in the {kind} '{word}'.",
    "The bank asks for the {nth} letter of my code word '{word}'. Which one is it?",
    "Look at '{word}'. What's the {nth} letter?",
    "{nth} letter of '{word}'?",
)
KINDS = ("word", "username", "code word", "name")


def letters(rng: Random, difficulty: int) -> Draft:
    """Reverse a word, count a letter in it, or name its n-th letter; 3 to 12 letters."""
    shortest, longest = ((3, 3), (4, 5), (6, 7), (8, 9), (10, 12))[difficulty - 1]
    word = invented(rng, between(rng, shortest, longest))
    kind, what = pick(rng, KINDS), pick(rng, ("reverse", "reverse", "count", "nth"))
    if what == "reverse":
        prompt = ask(rng, REVERSE, ANSWER, word=word, kind=kind)
        spelled = (" ".join(word), " ".join(word[::-1]))
        return Draft(prompt, word[::-1], "exact", f"reverse {word}", spelled)
    if what == "count":
        letter = pick(rng, word)
        prompt = ask(rng, COUNT, NUMBER, word=word, kind=kind, letter=letter)
        marked = " ".join(f"({each})" if each == letter else each for each in word)
        return Draft(prompt, str(word.count(letter)), "number", f"{letter} {word}", (marked,))
    place = int(rng.random() * min(len(word), len(ORDINALS)))
    prompt = ask(rng, NTH, ANSWER, word=word, kind=kind, nth=ORDINALS[place])
    numbered = " ".join(f"{n} {each}" for n, each in enumerate(word[: place + 1], 1))
    return Draft(prompt, word[place], "exact", f"{place} {word}", (numbered,))


UP: Phrases = (
    "Put these numbers in order, from smallest to largest: {line}.",
    "Sort these {what} from smallest to largest: {line}.",
    "Sort in ascending order: {line}.",
    "I have this list of {what}: {line}. Can you arrange it from low to high?",
    "{line}. Please sort them, smallest first.",
    "The runners needed {line} seconds. List the times, fastest first.",
    "Our bids: {line} dollars. Put them in order, cheapest first.",
    "Order these {what} by size, starting with the lowest: {line}.",
)
DOWN: Phrases = (
    "Put these numbers in order, from largest to smallest: {line}.",
    "Sort these {what} from largest to smallest: {line}.",
    "Sort in descending order: {line}.",
    "I have this list of {what}: {line}. Can you arrange it from high to low?",
    "{line}. Please sort them, biggest first.",
    "The players scored {line} points. List the scores, best first.",
    "The towns have {line} houses. Write the numbers down, largest first.",
    "Order these {what} by size, starting with the highest: {line}.",
)
FORWARD: Phrases = (
    "Put these words in order, alphabetically: {line}.",
    "Sort these words alphabetically: {line}.",
    "Alphabetical order, please: {line}.",
    "I have this list: {line}. Can you arrange it from A to Z?",
    "{line}. Please alphabetize them.",
    "The index of my book should list {line} in alphabetical order. What does it look like?",
    "In which order does a dictionary have {line}?",
    "These go on labels, A to Z: {line}. What is the order?",
)
BACKWARD: Phrases = (
    "Put these words in order, reverse alphabetical: {line}.",
    "Sort these words in reverse alphabetical order: {line}.",
    "Reverse alphabetical order, please: {line}.",
    "I have this list: {line}. Can you arrange it from Z to A?",
    "{line}. Please sort them from Z to A.",
    "Sort descending by name: {line}.",
    "Our teacher calls us from the end of the alphabet: {line}. In which order?",
    "Which order do you get when you sort {line} alphabetically and turn the list around?",
)


def sorting(rng: Random, difficulty: int) -> Draft:
    """Sort 3 to 10 numbers or words, up or down."""
    count = (3, 4, 5, 7, 10)[difficulty - 1]
    down, what = rng.random() < 0.4, pick(rng, ("numbers", "scores", "values"))
    if rng.random() < 0.5:
        numbers = rng.sample(range(1, 100 if difficulty < 4 else 1000), count)
        shown, ordered = list(map(str, numbers)), list(map(str, sorted(numbers, reverse=down)))
        phrases, way = (DOWN, "down") if down else (UP, "up")
    else:
        shown = some(rng, count, pick(rng, (NOUNS, PEOPLE)))
        ordered = sorted(shown, reverse=down)
        phrases, way = (BACKWARD, "backward") if down else (FORWARD, "forward")
    line = ", ".join(shown)
    return Draft(ask(rng, phrases, LIST, line=line, what=what), ", ".join(ordered), "list", f"{line} {way}")


EVEN: Phrases = (
    "From this list, keep just the even numbers: {line}.",
    "List only the even numbers from {line}, keeping their order.",
    "Here are some readings: {line}. Which of them are even numbers?",
    "House numbers in our street: {line}. Which ones are on the even side, in this order?",
    "Drop everything odd from {line} and leave the rest as it stands.",
    "Which of {line} can be divided by two?",
)
ODD: Phrases = (
    "From this list, keep just the odd numbers: {line}.",
    "List only the odd numbers from {line}, keeping their order.",
    "Here are some readings: {line}. Which of them are odd numbers?",
    "House numbers in our street: {line}. Which ones are on the odd side, in this order?",
    "Drop everything even from {line} and leave the rest as it stands.",
    "Which of {line} leave a remainder when divided by two?",
)
OVER: Phrases = (
    "From this list, keep just the numbers greater than {limit}: {line}.",
    "List only the numbers greater than {limit} from {line}, keeping their order.",
    "Here are some readings: {line}. Which of them are above {limit}?",
    "The passing mark is more than {limit}. Which of these marks pass, in this order: {line}?",
    "Drop everything up to {limit} from {line} and leave the rest as it stands.",
    "Speeds on the camera: {line}. The limit is {limit}. Which of them were too fast?",
)
ONCE: Phrases = (
    "Remove the duplicates from this list but keep the order of first appearance: {line}.",
    "Somebody pasted entries twice: {line}. Give me each one once, in order of first appearance.",
    "Deduplicate this list, first appearance counts: {line}.",
    "My shopping list has repeats: {line}. Write it again without them, in the same order.",
    "Which different entries are in this list, in order of first appearance? {line}",
    "Tags on the photo: {line}. Show every tag only once, in the order they come up.",
)
LETTER: Phrases = (
    "Which of these start with the letter {letter}? {line}",
    "Keep only the entries that start with the letter {letter}: {line}.",
    "From {line}, pick those beginning with the letter {letter}, in the same order.",
    "Drawer {letter} is for everything that starts with the letter {letter}. What goes in there? {line}",
    "I look for entries under the letter {letter} in this list: {line}. Which are they?",
    "Filter this by first letter {letter}: {line}.",
)


def filtering(rng: Random, difficulty: int) -> Draft:
    """Keep some entries of a list of 4 to 11, in their order: even, odd, large, without repeats, by first letter."""
    count = (4, 5, 6, 8, 11)[difficulty - 1]
    what = pick(rng, ("even", "odd", "over", "once", "letter"))
    limit, letter = between(rng, 30, 70), ""
    if what == "once":
        pool = some(rng, max(3, count * 2 // 3), NOUNS)
        entries = [pick(rng, pool) for _ in range(count)]
        keeps = [entry not in entries[:n] for n, entry in enumerate(entries)]
    elif what == "letter":
        entries = some(rng, count, PEOPLE if rng.random() < 0.5 else NOUNS)
        letter = pick(rng, entries)[0]
        keeps = [entry[0] == letter for entry in entries]
    else:
        numbers = rng.sample(range(1, 100), count)
        entries = list(map(str, numbers))
        keeps = [n > limit if what == "over" else n % 2 == (what == "odd") for n in numbers]
    kept = [entry for entry, keep in zip(entries, keeps, strict=True) if keep]
    if not kept or len(kept) == count:  # no answer, or no question
        return filtering(rng, difficulty)
    phrases = {"even": EVEN, "odd": ODD, "over": OVER, "once": ONCE, "letter": LETTER}[what]
    line = ", ".join(entries)
    prompt = ask(rng, phrases, LIST, line=line, limit=limit, letter=letter)
    key = f"{what} {limit if what == 'over' else letter} {line}"
    marked = ", ".join(
        f"{entry} {'yes' if keep else 'no'}" for entry, keep in zip(entries, keeps, strict=True)
    )
    return Draft(prompt, ", ".join(kept), "list", key, (marked,))


FAMILIES = (
    Family("letters", "strings and lists", letters, (REVERSE, COUNT, NTH)),
    Family("sorting", "strings and lists", sorting, (UP, DOWN, FORWARD, BACKWARD)),
    Family("filtering", "strings and lists", filtering, (EVEN, ODD, OVER, ONCE, LETTER)),
)

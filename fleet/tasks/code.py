"""Code tracing: what a few lines of Python print."""

from __future__ import annotations

from random import Random

from fleet.tasks.task import Draft, Family
from fleet.tasks.wording import NUMBER, Phrases, ask, between, pick

QUESTIONS: Phrases = (
    "What does this Python code print?",
    "What is the output of this program?",
    "I'm learning Python. What will this print?",
    "Trace this snippet and tell me its output.",
    "Without running it: what does this code output?",
    "What do I see on the screen when I run this?",
    "Which value is printed here?",
    "Python question from an interview: what does this print?",
    "Predict the output of the following code.",
    "My tablet has no Python. What would this print?",
    "I don't trust my test. What should this print?",
    "A colleague left this script behind. What does it print?",
    "Please step through this for me. What comes out at the end?",
    "output of this?",
)
BARE = ("", "", "", " Thanks!", " No explanation needed.", " Just the output.")


def _ask(rng: Random, lines: list[str], answer: str, verifier: str, working: list[str]) -> Draft:
    program = "\n".join(lines)
    block = f"```python\n{program}\n```" if rng.random() < 0.6 else program
    question = ask(rng, QUESTIONS, BARE if verifier == "list" else NUMBER)
    return Draft(f"{question}\n\n{block}", answer, verifier, program, tuple(working))


def loops(rng: Random, difficulty: int) -> Draft:
    """A counted loop (1, 2), a branch inside it (3), a while loop (4), a loop in a loop (5)."""
    total, k = between(rng, 0, 20), between(rng, 2, 9)
    low = between(rng, 0, 4) if difficulty > 1 else 0
    name, i = pick(rng, ("total", "result", "count", "acc", "score")), pick(rng, "ijkn")
    high = low + between(rng, *((2, 4), (2, 4), (3, 5), (4, 6), (2, 3))[difficulty - 1])
    lines, working = [f"{name} = {total}"], []

    def change(where: str, amount: int) -> None:
        nonlocal total
        sign = "+" if amount >= 0 else "-"
        working.append(f"{where}: {total} {sign} {abs(amount)} = {total + amount}")
        total += amount

    if difficulty == 1:
        lines += [f"for {i} in range({high}):", f"    {name} += {k}"]
        for n in range(high):
            change(f"{i} = {n}", k)
    elif difficulty == 2:
        lines += [f"for {i} in range({low}, {high}):", f"    {name} += {i} * {k}"]
        for n in range(low, high):
            change(f"{i} = {n}", n * k)
    elif difficulty == 3:
        odd = between(rng, 1, 9)
        lines += [
            f"for {i} in range({low}, {high}):",
            f"    if {i} % 2 == 0:",
            f"        {name} += {i} * {k}",
            "    else:",
            f"        {name} -= {odd}",
        ]
        for n in range(low, high):
            change(f"{i} = {n}", n * k if n % 2 == 0 else -odd)
    elif difficulty == 4:
        n, by = between(rng, 20, 200), pick(rng, (2, 3))
        lines += [f"{i} = {n}", f"while {i} > {k}:", f"    {i} = {i} // {by}", f"    {name} += {i}"]
        while n > k:
            working.append(f"{i} = {n} // {by} = {n // by}")
            n //= by
            change(f"{i} = {n}", n)
    else:
        inner = between(rng, 3, 4)
        lines += [f"for {i} in range({low}, {high}):", f"    for m in range(1, {inner}):"]
        lines += [f"        {name} += {i} * m + {k}"]
        for n in range(low, high):
            for m in range(1, inner):
                change(f"{n} * {m} + {k} = {n * m + k}", n * m + k)
    return _ask(rng, [*lines, f"print({name})"], str(total), "number", working)


def lists(rng: Random, difficulty: int) -> Draft:
    """1 to 5 changes to a list; the list, its sum or one of its entries is printed."""
    xs = [between(rng, 1, 30) for _ in range(between(rng, 3, 5))]
    name = pick(rng, ("xs", "items", "queue", "nums", "data"))
    lines, working = [f"{name} = {xs}"], []
    for _ in range(difficulty):
        lines.append(_change(rng, name, xs))
        working.append(f"{xs}")
    what = pick(rng, ("list", "list", "sum", "first"))
    if what == "list":
        return _ask(rng, [*lines, f"print({name})"], ", ".join(map(str, xs)), "list", working)
    if what == "sum":
        working.append(f"{' + '.join(map(str, xs))} = {sum(xs)}")
        return _ask(rng, [*lines, f"print(sum({name}))"], str(sum(xs)), "number", working)
    place = pick(rng, (0, len(xs) - 1, len(xs) // 2))
    return _ask(rng, [*lines, f"print({name}[{place}])"], str(xs[place]), "number", working)


def _change(rng: Random, name: str, xs: list[int]) -> str:
    """Change xs, and say how in Python."""
    value, place = between(rng, 1, 40), int(rng.random() * len(xs))
    shrinking = ("pop", "front", "tail") if len(xs) > 2 else ()
    what = pick(rng, ("append", "append", "insert", "reverse", "sort", "set", *shrinking))
    match what:
        case "append":
            xs.append(value)
        case "insert":
            xs.insert(1, value)
        case "reverse":
            xs.reverse()
        case "sort":
            xs.sort()
        case "set":
            xs[place] = value
        case "pop":
            xs.pop()
        case _:
            del xs[0]
    return {
        "append": f"{name}.append({value})",
        "insert": f"{name}.insert(1, {value})",
        "reverse": f"{name}.reverse()",
        "sort": f"{name}.sort()",
        "set": f"{name}[{place}] = {value}",
        "pop": f"{name}.pop()",
        "front": f"{name}.pop(0)",
        "tail": f"{name} = {name}[1:]",
    }[what]


def functions(rng: Random, difficulty: int) -> Draft:
    """A formula (1), a branch (2), one function inside another (3), recursion (4), branching recursion (5)."""
    f, g = rng.sample(("f", "g", "h", "step", "shift", "mix"), 2)
    a, b, c, x = between(rng, 2, 9), between(rng, 1, 20), between(rng, 2, 15), between(rng, 2, 12)
    if difficulty == 1:
        lines = [f"def {f}(x):", f"    return x * {a} + {b}", "", f"print({f}({x}))"]
        answer = x * a + b
        working = [f"{x} * {a} + {b} = {x * a} + {b} = {answer}"]
    elif difficulty == 2:
        lines = [f"def {f}(x):", f"    if x > {c}:", f"        return x - {b}", f"    return x * {a}", ""]
        lines += [f"print({f}({x}) + {f}({x + c}))"]
        one, two = (n - b if n > c else n * a for n in (x, x + c))
        first = f"{x} > {c}: {x} - {b} = {one}" if x > c else f"{x} <= {c}: {x} * {a} = {one}"
        answer = one + two
        working = [first, f"{x + c} > {c}: {x + c} - {b} = {two}", _sum(one, two)]
    elif difficulty == 3:
        lines = [f"def {f}(x):", f"    return x * {a} - {b}", "", f"def {g}(x):"]
        lines += [f"    return {f}(x) + {f}(x + {c})", "", f"print({g}({x}))"]
        one, two = x * a - b, (x + c) * a - b
        answer = one + two
        working = [
            f"{f}({n}) = {n} * {a} - {b} = {n * a} - {b} = {value}" for n, value in ((x, one), (x + c, two))
        ]
        working.append(_sum(one, two))
    elif difficulty == 4:
        depth = between(rng, 3, 5)
        lines = [
            f"def {f}(n):",
            "    if n == 0:",
            f"        return {b}",
            f"    return {f}(n - 1) * 2 + n",
            "",
        ]
        lines += [f"print({f}({depth}))"]
        answer, working = b, [f"{f}(0) = {b}"]
        for n in range(1, depth + 1):
            working.append(f"{f}({n}) = {answer} * 2 + {n} = {answer * 2 + n}")
            answer = answer * 2 + n
    else:
        depth = between(rng, 4, 6)
        lines = [f"def {f}(n):", "    if n < 2:", f"        return n + {a}"]
        lines += [f"    return {f}(n - 1) + {f}(n - 2) + {b}", "", f"print({f}({depth}))"]
        before, answer = a, a + 1
        working = [f"{f}(0) = {before}", f"{f}(1) = {answer}"]
        for n in range(2, depth + 1):
            working.append(f"{f}({n}) = {answer} + {before} + {b} = {answer + before + b}")
            before, answer = answer, answer + before + b
    return _ask(rng, lines, str(answer), "number", working)


def _sum(one: int, two: int) -> str:
    return f"{one} {'+' if two >= 0 else '-'} {abs(two)} = {one + two}"


FAMILIES = (
    Family("loops", "code tracing", loops, (QUESTIONS,)),
    Family("lists", "code tracing", lists, (QUESTIONS,)),
    Family("functions", "code tracing", functions, (QUESTIONS,)),
)

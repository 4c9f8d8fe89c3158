"""Code tracing: what a few lines of Python print."""

from __future__ import annotations

from random import Random

from fleet.tasks.task import Draft, Family
from fleet.tasks.wording import NUMBER, dress

QUESTIONS = (
    "What does this Python code print?",
    "What is the output of this program?",
    "I'm learning Python. What will this print?",
    "Trace this snippet and tell me its output.",
    "Without running it: what does this code output?",
)


def _ask(rng: Random, lines: list[str], answer: str, verifier: str) -> Draft:
    program = "\n".join(lines)
    block = f"```python\n{program}\n```" if rng.random() < 0.6 else program
    question = dress(rng, rng.choice(QUESTIONS), ("",) if verifier == "list" else NUMBER)
    return Draft(f"{question}\n\n{block}", answer, verifier, program)


def loops(rng: Random, difficulty: int) -> Draft:
    """A counted loop (1, 2), a branch inside it (3), a while loop (4), a loop in a loop (5)."""
    total, k, low = rng.randint(0, 20), rng.randint(2, 9), rng.randint(0, 4)
    name, i = rng.choice(("total", "result", "count", "acc")), rng.choice("ijkn")
    high = low + rng.randint(*((2, 3), (3, 5), (5, 7), (4, 6), (2, 4))[difficulty - 1])
    lines = [f"{name} = {total}"]
    if difficulty == 1:
        lines += [f"for {i} in range({high}):", f"    {name} += {k}"]
        total += k * high
    elif difficulty == 2:
        lines += [f"for {i} in range({low}, {high}):", f"    {name} += {i} * {k}"]
        total += sum(n * k for n in range(low, high))
    elif difficulty == 3:
        odd = rng.randint(1, 9)
        lines += [
            f"for {i} in range({low}, {high}):",
            f"    if {i} % 2 == 0:",
            f"        {name} += {i} * {k}",
        ]
        lines += ["    else:", f"        {name} -= {odd}"]
        total += sum(n * k if n % 2 == 0 else -odd for n in range(low, high))
    elif difficulty == 4:
        start, by = rng.randint(40, 400), rng.choice((2, 3))
        lines += [f"{i} = {start}", f"while {i} > {k}:", f"    {i} = {i} // {by}", f"    {name} += {i}"]
        while start > k:
            start //= by
            total += start
    else:
        inner = rng.randint(3, 4)
        lines += [f"for {i} in range({low}, {high}):", f"    for m in range(1, {inner}):"]
        lines += [f"        {name} += {i} * m + {k}"]
        total += sum(n * m + k for n in range(low, high) for m in range(1, inner))
    return _ask(rng, [*lines, f"print({name})"], str(total), "number")


def lists(rng: Random, difficulty: int) -> Draft:
    """1 to 7 changes to a list; the list, its length or its sum is printed."""
    xs = [rng.randint(1, 30) for _ in range(rng.randint(3, 5))]
    name = rng.choice(("xs", "items", "queue", "nums"))
    lines = [f"{name} = {xs}"]
    lines += [_change(rng, name, xs) for _ in range((1, 2, 3, 5, 7)[difficulty - 1])]
    what = rng.choice(("list", "list", "sum", "first"))
    if what == "list":
        return _ask(rng, [*lines, f"print({name})"], ", ".join(map(str, xs)), "list")
    if what == "sum":
        return _ask(rng, [*lines, f"print(sum({name}))"], str(sum(xs)), "number")
    return _ask(rng, [*lines, f"print({name}[0])"], str(xs[0]), "number")


def _change(rng: Random, name: str, xs: list[int]) -> str:
    """Change xs, and say how in Python."""
    value, place = rng.randint(1, 40), rng.randrange(len(xs))
    written = {
        "append": f"{name}.append({value})",
        "insert": f"{name}.insert(1, {value})",
        "reverse": f"{name}.reverse()",
        "sort": f"{name}.sort()",
        "set": f"{name}[{place}] = {value}",
        "pop": f"{name}.pop()",
        "front": f"{name}.pop(0)",
        "tail": f"{name} = {name}[1:]",
    }
    shrinking = ["pop", "front", "tail"] if len(xs) > 2 else []
    what = rng.choice(["append", "append", "insert", "reverse", "sort", "set", *shrinking])
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
    return written[what]


def functions(rng: Random, difficulty: int) -> Draft:
    """A formula (1), a branch (2), one function inside another (3), recursion (4), branching recursion (5)."""
    f, g = rng.sample(("f", "g", "h", "step", "shift", "mix"), 2)
    a, b, c, x = rng.randint(2, 9), rng.randint(1, 20), rng.randint(2, 15), rng.randint(2, 12)
    if difficulty == 1:
        lines = [f"def {f}(x):", f"    return x * {a} + {b}", "", f"print({f}({x}))"]
        answer = x * a + b
    elif difficulty == 2:
        lines = [f"def {f}(x):", f"    if x > {c}:", f"        return x - {b}", f"    return x * {a}", ""]
        lines += [f"print({f}({x}) + {f}({x + c}))"]
        answer = sum(n - b if n > c else n * a for n in (x, x + c))
    elif difficulty == 3:
        lines = [f"def {f}(x):", f"    return x * {a} - {b}", "", f"def {g}(x):"]
        lines += [f"    return {f}(x) + {f}(x + {c})", "", f"print({g}({x}))"]
        answer = (x * a - b) + ((x + c) * a - b)
    elif difficulty == 4:
        depth = rng.randint(3, 5)
        lines = [
            f"def {f}(n):",
            "    if n == 0:",
            f"        return {b}",
            f"    return {f}(n - 1) * 2 + n",
            "",
        ]
        lines += [f"print({f}({depth}))"]
        answer = b
        for n in range(1, depth + 1):
            answer = answer * 2 + n
    else:
        depth = rng.randint(4, 6)
        lines = [f"def {f}(n):", "    if n < 2:", f"        return n + {a}"]
        lines += [f"    return {f}(n - 1) + {f}(n - 2) + {b}", "", f"print({f}({depth}))"]
        before, answer = a, a + 1
        for _ in range(depth - 1):
            before, answer = answer, answer + before + b
    return _ask(rng, lines, str(answer), "number")


FAMILIES = (
    Family("loops", "code tracing", loops),
    Family("lists", "code tracing", lists),
    Family("functions", "code tracing", functions),
)

"""Draw the state machines into docs/statemachines/ (`make pictures`): Graphviz as WebAssembly, so the same everywhere.

Without Node nothing can be drawn, and this says so; tests/template/test_pictures.py sees what is out of date without it.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DOCS = ROOT / "docs" / "statemachines"
COLOURS = {
    "Task": "#dcebfa", "Choice": "#fff3cd", "Wait": "#ece6f5", "Pass": "#f1f1f1", "Map": "#dcebfa", "Succeed": "#d8f0dc",
    "Fail": "#f8d7da",
}  # fmt: skip
"""What a state does, by its Type: works, asks, waits, remembers, ends well, ends badly."""
_DRAW = """
const { instance } = await import("@viz-js/viz");
let text = "";
for await (const part of process.stdin) text += part;
const viz = await instance();
console.log(JSON.stringify(Object.fromEntries(
  Object.entries(JSON.parse(text)).map(([name, dot]) => [name, viz.renderString(dot, { format: "svg" })]))));
"""


def graphs() -> dict[str, str]:
    """Return each machine's drawing in Graphviz's language."""
    paths = sorted((ROOT / "statemachines").glob("*.asl.json"))
    return {path.name.partition(".")[0]: graph(json.loads(path.read_text())) for path in paths}


def graph(machine: dict[str, Any]) -> str:
    """Return a machine's drawing; where most failures lead is said in the states, as lines they would hide the rest."""
    targets = Counter(to for state in _states(machine) for to, all_ in _caught(state) if all_)
    usual = {to for to, times in targets.items() if times > 2}  # noqa: PLR2004 - two lines do not hide anything yet
    lines = [
        "digraph {",
        'graph [rankdir=TB, nodesep=0.35, ranksep=0.42, fontname="Helvetica", fontsize=10, bgcolor="white"]',
        'node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11, color="#55606b", margin="0.28,0.1"]',
        'edge [fontname="Helvetica", fontsize=9, color="#55606b", arrowsize=0.7]',
        'start [label="", shape=circle, width=0.16, style=filled, fillcolor="#55606b"]',
        f"start -> {_id(machine['StartAt'])}",
        *_body(machine, usual),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _states(machine: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for state in machine["States"].values():
        yield state
        if "ItemProcessor" in state:
            yield from _states(state["ItemProcessor"])


def _caught(state: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield where each Catch leads, and whether it takes every error."""
    for clause in state.get("Catch", []):
        yield clause["Next"], clause["ErrorEquals"] == ["States.ALL"]


def _body(machine: dict[str, Any], usual: set[str]) -> Iterator[str]:
    for name, state in machine["States"].items():
        failing = [to for to, all_ in _caught(state) if all_ and to in usual]
        label = f"<B>{_text(name, 30)}</B>"
        for words, size, colour in ((_work(state), 9, "#3b4650"), (_lost(failing), 8, "#a02c38")):
            if words:
                label += f'<BR/><FONT POINT-SIZE="{size}" COLOR="{colour}">{_text(words, 42)}</FONT>'
        wide = ", peripheries=2" if state["Type"] == "Map" else ""
        yield f'{_id(name)} [label=<{label}>, fillcolor="{COLOURS[state["Type"]]}"{wide}]'
        yield from _edges(name, state, usual)
        if "ItemProcessor" in state:
            yield f"subgraph cluster_{_id(name)} {{"
            yield f'label="for each item of: {name}"; style="rounded,dashed"; color="#8a94a0"; margin=14'
            yield from _body(state["ItemProcessor"], usual)
            yield "}"
            yield f"{_id(name)} -> {_id(state['ItemProcessor']['StartAt'])} [style=dotted, arrowhead=none]"


def _edges(name: str, state: dict[str, Any], usual: set[str]) -> Iterator[str]:
    for rule in state.get("Choices", []):
        yield f"{_id(name)} -> {_id(rule['Next'])} [label=<{_text(_condition(rule['Condition']), 26)}>]"
    if "Default" in state:
        yield f'{_id(name)} -> {_id(state["Default"])} [label="else"]'
    if "Next" in state:
        yield f"{_id(name)} -> {_id(state['Next'])} [weight=4]"
    for clause in state.get("Catch", []):
        if clause["ErrorEquals"] == ["States.ALL"] and clause["Next"] in usual:
            continue
        errors = [error.rpartition(".")[2].replace("ALL", "any error") for error in clause["ErrorEquals"]]
        words = _text(", ".join(errors).replace("AmazonSageMakerException", "refused").replace("Exception", ""), 26)
        style = 'style=dashed, color="#a02c38", fontcolor="#a02c38"'
        yield f"{_id(name)} -> {_id(clause['Next'])} [label=<{words}>, {style}]"


def _work(state: dict[str, Any]) -> str:
    """Return in a few words what a state asks for, waits for or ends with."""
    if state["Type"] == "Wait":
        seconds = state["Seconds"]
        return f"{seconds} s" if isinstance(seconds, int) else "as long as computed"
    if state["Type"] == "Fail":
        return str(state["Error"]) if not str(state["Error"]).startswith("{%") else "with the error that was met"
    resource = str(state.get("Resource", "")).removeprefix("arn:aws:states:::")
    arguments = state.get("Arguments", {})
    if resource.startswith("lambda:"):
        function = re.sub(r"(?<!^)(?=[A-Z])", "_", arguments["FunctionName"][2:].removesuffix("FunctionArn}")).lower()
        return f"{function}, and waits for the word" if resource.endswith("Token") else function
    if resource.startswith("states:"):
        return f"the machine {arguments['StateMachineArn'][2:].removesuffix('MachineArn}').lower()}"
    if resource.startswith("sagemaker:"):
        return "SageMaker " + re.sub(r"(?<!^)(?=[A-Z])", " ", resource[10:].removesuffix(".sync")).lower()[7:]
    return {"sns:publish": "a message to people"}.get(resource, resource)


def _lost(targets: list[str]) -> str:
    return f"on failure: {targets[0]}" if targets else ""


def _condition(text: str) -> str:
    """Return a condition as words: its variables without their signs."""
    words = text.strip("{%} ").replace("$states.input.", "").replace("$", "")
    if " and (" in words or len(words) > 60:  # noqa: PLR2004 - a picture has no room for more
        return words.split(" and ")[0].strip("( ") + " and ..."
    return words


def _text(words: str, width: int) -> str:
    """Return words as Graphviz takes them, broken into lines."""
    lines = [""]
    for word in words.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<BR/>".join(html.escape(line, quote=False) for line in lines)


def _id(name: str) -> str:
    return "s" + hashlib.sha256(name.encode()).hexdigest()[:10]


def mark(dot: str) -> str:
    """Return the comment that tells of which drawing a picture was made."""
    return f"<!-- make pictures: {hashlib.sha256(dot.encode()).hexdigest()} -->"


def _centred(node: re.Match[str]) -> str:
    """Return a node with its words in its middle: viewers' letters are wider than those that Graphviz knows."""
    outline = re.search(r' d="([^"]*)"', node[0])
    if outline is None:
        return node[0]
    places = [float(pair.partition(",")[0]) for pair in re.findall(r"-?[\d.]+,-?[\d.]+", outline[1])]
    middle = f"{(min(places) + max(places)) / 2:.2f}"
    return re.sub(r'text-anchor="start" x="[^"]*"', f'text-anchor="middle" x="{middle}"', node[0])


def tools() -> Path | None:
    """Return the folder with the locked Node packages, installed on first use; None where Node is missing."""
    npm = shutil.which("npm")
    if not npm or not shutil.which("node"):
        return None
    folder = ROOT / ".tools" / "asl"
    folder.mkdir(parents=True, exist_ok=True)
    lock = HERE / "package-lock.json"
    if not (folder / lock.name).exists() or (folder / lock.name).read_bytes() != lock.read_bytes():
        for name in ("package.json", lock.name):
            shutil.copy(HERE / name, folder / name)
        subprocess.run([npm, "ci", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True)
    return folder


def main() -> int:
    """Write docs/statemachines/*.svg; return 1 where they cannot be drawn."""
    folder = tools()
    if folder is None:
        sys.stderr.write("the pictures were NOT drawn: that needs Node (apt-get install npm)\n")
        return 1
    drawn = graphs()
    node = ["node", "--input-type=module", "-e", _DRAW]
    found = subprocess.run(node, cwd=folder, input=json.dumps(drawn), capture_output=True, text=True, check=True)
    DOCS.mkdir(exist_ok=True)
    for name, picture in json.loads(found.stdout).items():
        body = re.sub(
            r'<g id="[^"]*" class="node">.*?</g>', _centred, picture[picture.index("<svg") :], flags=re.DOTALL
        )
        (DOCS / f"{name}.svg").write_text(f"{mark(drawn[name])}\n{body}".rstrip() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

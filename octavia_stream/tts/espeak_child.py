"""The process that espeak-ng lives in. Run by path, with the standard library alone; nobody imports it.

espeak-ng is GPL-3.0 and keeps global state: it runs here, one request at a time, and talks in lines of JSON.

    argv[1]                                    the directory of the installed `piper` package
    stdin   {"voice": "pt-br", "text": "Olá"}  one clause a line
    stdout  {"phonemes": "olˈa"} or {"error": "voice"}

End of input ends the process, so it never outlives whoever started it.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType


def load_bridge(package: Path) -> ModuleType:
    """The extension module alone: the package around it would import onnxruntime and much else."""
    for candidate in sorted(package.glob("espeakbridge*.so")) + sorted(package.glob("espeakbridge*.pyd")):
        spec = importlib.util.spec_from_file_location("espeakbridge", candidate)
        if spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise SystemExit("espeakbridge is not in the piper package")


def answer(bridge: ModuleType, request: dict[str, str]) -> dict[str, str]:
    """Phonemes of one clause; espeak-ng may see several in it, and its own marks then separate them."""
    try:
        bridge.set_voice(request["voice"])
    except RuntimeError:
        return {"error": "voice"}
    clauses = bridge.get_phonemes(request["text"])
    spoken = [phonemes + mark for phonemes, mark, _ in clauses[:-1]] + [phonemes for phonemes, _, _ in clauses[-1:]]
    return {"phonemes": " ".join(spoken)}


def main() -> None:
    """Answer until the input ends."""
    # espeak-ng's C code may print: keep a private copy of stdout for answers, send the rest away.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    package = Path(sys.argv[1])
    bridge = load_bridge(package)
    bridge.initialize(str(package / "espeak-ng-data"))
    for line in sys.stdin.buffer:
        answers.write(json.dumps(answer(bridge, json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

"""The TypeScript client: its types are those of openapi.json, it compiles, and it talks to a real server."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from retort.serving.api.auth import Scope, create_key
from tests.serving._graphs import make_bundle
from tests.serving._process import serving_process
from tests.serving.api.test_auth import write

CLIENT = Path(__file__).parents[2] / "clients" / "typescript"
NODE = shutil.which("node")
TSCONFIG = {
    "extends": str(CLIENT / "tsconfig.json"),
    "compilerOptions": {"rootDir": ".", "outDir": "out"},
    "include": ["*.ts"],
}

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(NODE is None, reason="there is no node on PATH"),
    pytest.mark.skipif(
        not (CLIENT / "node_modules").is_dir(), reason="`make typescript-client` installs what the client is built with"
    ),
]


def _run(*arguments: str, cwd: Path) -> str:
    assert NODE is not None
    done = subprocess.run([NODE, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_the_types_are_those_of_openapi_json() -> None:
    committed = (CLIENT / "src" / "schema.ts").read_text(encoding="utf-8")
    try:
        _run("generate.mjs", cwd=CLIENT)
        made = (CLIENT / "src" / "schema.ts").read_text(encoding="utf-8")
    finally:
        (CLIENT / "src" / "schema.ts").write_text(committed, encoding="utf-8")
    assert made == committed, "run `make typescript-client` and commit clients/typescript/src/schema.ts"


def test_a_program_compiles_and_calls_a_real_server(tmp_path: Path) -> None:
    work = tmp_path / "program"
    shutil.copytree(CLIENT / "src", work)
    shutil.copy(Path(__file__).parent / "typescript" / "usage.ts", work)
    (work / "package.json").write_text('{"type": "module"}')
    (work / "tsconfig.json").write_text(json.dumps(TSCONFIG))
    (work / "node_modules").symlink_to(CLIENT / "node_modules")
    _run("node_modules/typescript/bin/tsc", "-p", ".", cwd=work)

    key, entry = create_key("shop", frozenset({Scope.READ, Scope.WRITE}))
    write(tmp_path / "keys.json", [entry])
    bundle = make_bundle(tmp_path / "bundles")
    with serving_process(tmp_path, retort_bundle=bundle, retort_keys_file=tmp_path / "keys.json") as server:
        server.ready()
        told = json.loads(_run("out/usage.js", server.url, key, cwd=work))
    assert told["stored"] == 2
    assert told["source"] == "student"
    assert len(told["items"]) == 3
    assert all(title.startswith("Title ") for _, title in told["items"])
    assert told["similar"] == 2
    assert told["problem"] == [422, "user: unknown field; did you mean user_id?"]
    assert told["refused"] == 401

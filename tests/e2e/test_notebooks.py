"""The notebooks run from top to bottom, and are committed without outputs."""

import json
from pathlib import Path

import pytest

_NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks_without_outputs_whose_code_compiles() -> None:
    assert [path.stem for path in _NOTEBOOKS] == ["quickstart", "what_did_the_texts_bring"]
    for path in _NOTEBOOKS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                assert (cell["outputs"], cell["execution_count"]) == ([], None), path.name
                compile("".join(cell["source"]), path.name, "exec")


@pytest.mark.long
@pytest.mark.parametrize("path", _NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    for name in ("REDIS_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RETORT_HOME", str(tmp_path / ".retort"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = json.dumps(notebook.cells)
    assert "ndcg@10 compared with plain" in shown
    assert ("A1" if path.stem == "quickstart" else "texts of other items") in shown

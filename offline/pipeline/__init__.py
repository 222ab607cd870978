"""The offline line: what each step does, from files to files.

    data → split → profiles → vectors → teacher → lists → train → refit → export → evaluate → seal (→ publish)

A step reads the directories of the steps it needs and writes its own; `offline/pipeline/dag.py` names, skips and
resumes it.
A plain recipe has no profiles, vectors, teacher and lists; protocol "held" has no refit. The CLI and the Celery tasks
both perform these steps and no others: `steps` says which, `prepare`, `teach`, `lists`, `train` and `deliver` do them.
"""

from retort.offline.pipeline.context import Context, asked_split
from retort.offline.pipeline.deliver import bundle_of
from retort.offline.pipeline.outcome import Outcome, outcome_of, run_line
from retort.offline.pipeline.steps import open_line, steps_of

__all__ = ["Context", "Outcome", "asked_split", "bundle_of", "open_line", "outcome_of", "run_line", "steps_of"]

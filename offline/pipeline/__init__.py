"""The offline pipeline: which steps a recipe requires, and what each step does from files to files.

    data → split → profiles → vectors → teacher → lists → train → refit → export → evaluate → seal (→ publish)

A step reads the directories of the steps that it needs and writes its own directory. `dag` names, skips and resumes
steps, `artifact_store` keeps their directories. `prepare`, `teach`, `lists`, `train` and `deliver` hold the steps of
one stage each, and `build` puts them together. A plain recipe has no profiles, vectors, teacher and lists; protocol
"held" has no refit. The CLI and the Celery tasks run these steps and no others.
"""

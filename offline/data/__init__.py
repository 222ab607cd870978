"""Raw files → checked tables → split.

`load.load(DataConfig, root, progress) → Loaded`, kept by `load.save_loaded` and `load.load_saved`; `check.check` tells
what is wrong beforehand; `split.make_split(interactions, SplitConfig, protocol) → Split`, kept by `split_store`;
`split.train_popularity`, `split.profile_histories` and `split.train_interactions` are all that later steps may know;
`fetch.fetch` downloads public data. A new data set is one file in `sources/`.
"""

"""Data: raw files → checked tables → split.

`load.load_data(DataConfig, root, progress)` returns `Loaded`, which `tables.save_loaded` and `tables.load_saved` store;
`check.find_problems` reports what is wrong beforehand; `split.make_split(interactions, SplitConfig, protocol)` returns
`Split`, which `split_store` stores. Later steps see train data only, through `split.train_popularity`,
`split.profile_histories` and `split.train_interactions`. `fetch.fetch_dataset` downloads public data. A new data set is
one file in `sources/`.
"""

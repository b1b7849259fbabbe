"""From an author's raw texts to the samples a model is trained and measured on.

The flow: `sources` (files to documents) -> `cleaning` (documents to sections) -> `deduplication` (by `duplicates`
and `ngrams`) and `splitting` (sections to train, val, test) -> `sections` and `manifest` (the folder on disk), all
driven by `prepare`; then `samples` (sections to token ids). Nothing here imports torch or transformers: a tokenizer
arrives as an argument.
"""

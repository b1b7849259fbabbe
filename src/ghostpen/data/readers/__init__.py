"""One module per family of formats; each turns a file into passages and knows nothing of authors or splits.

`kinds` says what a file is. `plain`, `markup`, `books` and `pdf` read works; `mail`, `chats` and `archives` read
messages; `tables` reads rows. The parsers of foreign markup run in a process of their own (`isolation`).
"""

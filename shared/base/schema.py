"""Names and limits that offline and serving share."""

# Item index 0 is padding; items are 1 … n_items.
PAD = 0

USER_ID = "user_id"
ITEM_ID = "item_id"
TIMESTAMP = "timestamp"
WEIGHT = "weight"
TITLE = "title"
TEXT = "text"
POPULARITY = "popularity"
# What a language model knows of an item, which model or file the text is from, and when it was written (ISO 8601).
KNOWLEDGE = "knowledge"
KNOWLEDGE_SOURCE = "knowledge_source"
KNOWLEDGE_AT = "knowledge_at"

# Columns of a bundle's item table that are not attributes.
RESERVED_ITEM_COLUMNS = (ITEM_ID, TITLE, TEXT, POPULARITY, KNOWLEDGE, KNOWLEDGE_SOURCE, KNOWLEDGE_AT)

MAX_ID_LENGTH = 256  # characters of a user_id or item_id
MAX_K = 500  # items in one response

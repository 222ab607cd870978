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

# Columns of a bundle's item table that are not attributes.
RESERVED_ITEM_COLUMNS = (ITEM_ID, TITLE, TEXT, POPULARITY)

MAX_ID_LENGTH = 256  # characters of a user_id or item_id
MAX_K = 500  # items in one response

"""What each tab lists: rows, columns, the story of one row. Pure; `widgets/table.py` draws them."""

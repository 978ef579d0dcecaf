"""The report's tables, as data that the template lays out.

Not here: how a table looks (templates/) and the sentences beside it (wording.py, cautions.py).
"""

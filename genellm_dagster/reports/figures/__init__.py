"""Pictures of a study: each function draws one matplotlib figure and gives it back as inline SVG.

Not here: the page around them (html.py) and the numbers in them (evaluation/, interpretation/).
"""

"""The study report: figures, sentences drawn from numbers, and one self-contained HTML file.

Not here: any measurement (evaluation/, interpretation/); this room only shows what was measured.
"""

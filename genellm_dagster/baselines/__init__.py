"""Published signatures, the best single gene and classical classifiers, on given folds.

What does not live here: how folds are made and how predictions are judged (evaluation).
"""

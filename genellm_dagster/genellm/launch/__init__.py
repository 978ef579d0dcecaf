"""Where the fits of folds run: in this process, in others, on a Ray cluster, on several devices.

Each launcher gives the same results. What a fold is, and how it is fitted, is said in other files.
"""

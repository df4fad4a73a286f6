"""Results of papers, which `launch.reproduce` runs, and what they share.

A module for each paper: disdain, rvic, domino, self_consistency, ive; the
result `disdain_four_rooms` is the function `disdain.four_rooms`.

| module | is for |
| --- | --- |
| parallel, training, comparison_table, result_figures | all results |
| semi_markov | rvic: skills as actions, compiled |
| planning | domino: the exact planner |
| random_mdp_values | self_consistency: learning in random processes |
| half_grid | ive: learning from half of a grid |
"""

"""Results of papers, which `launch.reproduce` runs, and what they share.

A module for each paper; the result `disdain_four_rooms` is the function
`disdain.four_rooms`.
"""

"""Figures: values that describe what is drawn, and their drawing."""

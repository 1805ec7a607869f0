"""Reading a table of somebody's own, at a store and in a simulation alike: structure refused, bad rows counted by rule.

Modules here import pandas; nothing imports them before a table is to be read.
"""

"""A book of loans of any length, the same in chaintrue's tables, in the application's, and on a node that can be asked.

book    makes both databases in agreement: a sweep of them finds nothing
drift   makes the application's rows differ, at random places that are known
node    answers for the loans as Stellar RPC does, and counts what it was asked
"""

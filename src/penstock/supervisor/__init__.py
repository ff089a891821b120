"""The process that keeps the others alive. No mail passes through it.

Decisions are plain state machines: ``roster`` says which children to start, drain and kill; ``agreement`` how all of them come to one epoch.
"""

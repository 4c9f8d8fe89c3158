"""SIMULATED models: scripted minds that read a prompt and really try to solve it, each within limits of its own.

Nothing here knows a task's answer. A solver parses the prompt's text and works it out with the operations of a
`Mind`, which loses carries, threads and list entries where its abilities end. Right and wrong answers come from there.
"""

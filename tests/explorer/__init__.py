"""Walks through every state that the transaction of design section 5 can reach.

What is explored is the product's own core: `protocol.script`, `node`, `rules`, `coordinator`, `recovery`, and
what a recovery finds first, the coordinator's `recovery_case`.
Only what surrounds it is made up here: disks, CM, agents that die, a network that loses, repeats and
delays, coordinators that stop for ever.

    site        one node: what is durable, what the disk and CM are like
    hands       what an effect does to a site, and how it can fail or be cut short
    handler     a command or a starting agent, move by move, with a crash between any two
    events      what happens to a node by itself
    telling     what a node reports to a coordinator that recovers
    captain     a coordinator as the engine drives it
    readers     what it sets out to do
    world       all of them together, in small numbers (numbering)
    quotient    what makes no difference, and why: states that differ only in that are one
    search      breadth first, with counts and traces
    invariants  what must hold in every state
    recoverability  from every state a fresh coordinator alone reaches a clean end
    mutants     broken variants of the core, each of which must be caught
"""

"""A simulated CM for tests and the local demo. It is not openGauss and says so in every output.

Where things are:

    settings   what one simulated node knows of itself and its peers
    faults     how failures are scripted
    cluster    builds, starts and destroys a whole simulated cluster
    cm_ctl, cm_server, cm_agent, om_monitor
               the programs; each has a `main()` that the scripts in `<home>/bin` call

Its behaviour follows the notes on openGauss CM (cited as "facts section N"), bad sides included.
"""

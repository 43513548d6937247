"""
Mutation testing: changes the code in small ways, and lists the changes that no test notices.

``nox -s mutation -- resilience/_retry`` works through one module, ``python -m tests.mutation``
does so with the Python at hand.

Why not a tool that exists? Of mutmut 3.8 and cosmic-ray 8.7, the two that are well kept, neither
removes statements nor decides conditions, so that a slot never given back or a failure never
counted goes unseen. mutmut also leaves out class bodies and what is decorated, which here are all
options with their validators, and all properties; cosmic-ray starts Python anew for each mutant.
"""

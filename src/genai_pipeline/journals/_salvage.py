"""x"""


class Salvaged:
    pass


def salvage():
    pass

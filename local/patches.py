from local.clock import WallClock
def apply(clock: WallClock) -> None: pass

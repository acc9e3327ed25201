# code on PeerB

@hubnet.event("doing_something")
def imDoingSomething(*args, **kwargs):
    return args, kwargs

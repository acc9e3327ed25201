peer = hubnet.peers()[0]

@hubnet.subscribe("some_event", peer)
def your_function(subscription_args, subscription_kwarg=None):
    return some_value

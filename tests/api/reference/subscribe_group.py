group1_peers = hubnet.peers(groups=['group1'])

@hubnet.subscribe("some_event", group1_peers)
def your_function(subscription_args, subscription_kwarg=None):
    return some_value

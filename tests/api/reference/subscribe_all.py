@hubnet.subscribe("some_event")
def your_function(subscription_args, subscription_kwarg=None):
    return some_value

@hubnet.connect()
def your_function(some_value):
    return some_value

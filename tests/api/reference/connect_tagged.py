@hubnet.connect("MyTaggedFunction")
def your_function(some_value):
    return some_value

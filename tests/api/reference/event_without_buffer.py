var = MyCustomObject()  # some JSON incompatible object

...

imDoingSomething(var)

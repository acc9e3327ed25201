"""Call `functions.machine` on every server, and once here. In another terminal: python client.py"""

from functions import machine

import hubnet

servers = hubnet.wait_for(1, groups="servers")
for peer in servers["servers"]:
    print("there:", machine("you are", peer=peer))
print("here:", machine("I am"))

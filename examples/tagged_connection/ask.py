"""Ask every process of the other version. Version 1 asks: PYTHONPATH=version1 python ask.py 1"""

import sys

import hubnet

if sys.argv[1] == "1":
    from app.pictures import thumbnail as ask
else:
    from app.images import make_preview as ask

other = "version2" if sys.argv[1] == "1" else "version1"
for peer in hubnet.wait_for(1, groups=other)[other]:
    print(ask("sunset.exr", width=32, peer=peer))

import hubnet
from worker import render

worker = hubnet.wait_for(1, groups="farm")[0]
print(render(12, peer=worker))

# code on PeerA

peerB_id = "peerb"

@hubnet.subscribe("doing_something")
def handleEvent(whatPeerBDid):
    ...

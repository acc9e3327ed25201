all_peers = hubnet.peers(refresh=True)

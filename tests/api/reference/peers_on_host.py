all_peers = hubnet.peers(on_host=True)

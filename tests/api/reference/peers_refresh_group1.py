all_peers = hubnet.peers("group1", refresh=True)

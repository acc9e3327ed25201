friendly_information = hubnet.connections(peer='somepeer')

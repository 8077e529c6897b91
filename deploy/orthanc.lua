-- Orthanc puts every series that is complete into the folder that lightsr-infer reads. docs/deployment.md tells how.
-- Files have Orthanc's names, which say nothing of a patient, and are hidden until they are whole.

local FOLDER = '/var/lib/lightsr/in'

function OnStableSeries(seriesId, tags, metadata)
   if tags['Manufacturer'] == 'lightsr' then -- a result that came back
      return
   end
   local series = ParseJson(RestApiGet('/series/' .. seriesId))
   for _, instance in pairs(series['Instances']) do
      local hidden = FOLDER .. '/.' .. instance
      local file = assert(io.open(hidden, 'wb'))
      file:write(RestApiGet('/instances/' .. instance .. '/file'))
      file:close()
      assert(os.rename(hidden, FOLDER .. '/' .. instance .. '.dcm'))
   end
end
